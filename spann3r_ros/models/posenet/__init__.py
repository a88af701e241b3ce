"""PoseNet: the camera's pose in one known scene, from one image (Kendall, Grimes and Cipolla, ICCV 2015)."""
