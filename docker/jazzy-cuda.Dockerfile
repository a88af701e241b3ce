# ROS 2 Jazzy with CUDA, for an x86-64 machine with an NVIDIA GPU. Not built by this project's checks.
#
#   docker build -f docker/jazzy-cuda.Dockerfile -t spann3r_ros .
#   docker run --rm -it --gpus all --network host --ipc host spann3r_ros ros2 launch spann3r_ros spann3r.launch.py
#
# --ipc host gives Fast DDS the machine's shared memory; a container's own 64 MB are too little for camera images.
FROM ros:jazzy-ros-base

RUN apt-get update && apt-get install --yes --no-install-recommends \
      python3-colcon-common-extensions python3-numpy python3-opencv python3-pil python3-pip python3-scipy python3-tqdm python3-yaml \
      ros-jazzy-tf2-ros-py \
    && rm -rf /var/lib/apt/lists/*
# torch's wheels bring their CUDA libraries. NumPy stays the one that ROS's modules are compiled against.
RUN pip install --no-cache-dir --break-system-packages "numpy<2" "torch>=2.2" "safetensors>=0.4" "rosbags>=0.11" "simplejpeg>=1.8"

WORKDIR /workspace
COPY . src/spann3r_ros
RUN . /opt/ros/jazzy/setup.sh && colcon build --merge-install --cmake-args -DBUILD_TESTING=OFF
ENV FASTDDS_DEFAULT_PROFILES_FILE=/workspace/install/share/spann3r_ros/config/fastdds.xml \
    FASTRTPS_DEFAULT_PROFILES_FILE=/workspace/install/share/spann3r_ros/config/fastdds.xml
RUN sed --in-place 's#^exec "\$@"#source /workspace/install/local_setup.bash --\nexec "$@"#' /ros_entrypoint.sh
CMD ["ros2", "launch", "spann3r_ros", "spann3r.launch.py"]
