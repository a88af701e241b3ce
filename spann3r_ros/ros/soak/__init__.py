"""The running node under all the faults that a robot can have, for as long as one likes."""
