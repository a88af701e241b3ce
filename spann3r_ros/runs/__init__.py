"""What a pass over a recording leaves on disk, and the pass without ROS."""
