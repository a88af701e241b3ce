"""The subcommands of ``python -m spann3r_ros``."""
