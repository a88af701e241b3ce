"""Dense, colored 3D maps from camera images, live, with feed-forward networks that keep a spatial memory."""

# The generated messages (spann3r_ros.msg, .srv) live in a second folder of the same name: both are this package.
__path__ = __import__("pkgutil").extend_path(__path__, __name__)

__version__ = "0.1.0"
"""As in setup.cfg and package.xml; a workspace built by colcon has no other record of it at run time."""
