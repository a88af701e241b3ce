# ROS 2 Humble on a Jetson with JetPack 6. Not built by this project's checks: it needs the hardware's driver libraries.
#
#   docker build -f docker/jetpack.Dockerfile -t spann3r_ros --build-arg BASE=<image> .
#   docker run --rm -it --runtime nvidia --network host --ipc host spann3r_ros ros2 launch spann3r_ros spann3r.launch.py
#
# BASE: an image for your JetPack that holds both PyTorch built for the Jetson's GPU and ROS 2 (the jetson-containers
# project builds such images). torch from the Python package index has no kernels for every Jetson: never replace BASE's.
ARG BASE
FROM ${BASE}
ARG ROS_DISTRO=humble
SHELL ["/bin/bash", "-c"]

RUN apt-get update && apt-get install --yes --no-install-recommends \
      python3-colcon-common-extensions python3-pip python3-tqdm python3-yaml \
    && rm -rf /var/lib/apt/lists/*
# BASE's NumPy stays, whatever it is: its torch, OpenCV and ROS are compiled against it. SciPy from pip fits it; the one
# of the system is compiled against NumPy 1 and breaks beside another.
RUN python3 -c 'import torch; print(torch.__version__, torch.version.cuda)' \
    && python3 -c 'import numpy, torch; print(f"numpy=={numpy.__version__}\ntorch=={torch.__version__}")' > /tmp/constraints.txt \
    && pip3 install --no-cache-dir --constraint /tmp/constraints.txt "scipy>=1.8" "safetensors>=0.4" "rosbags>=0.11" "simplejpeg>=1.8" \
    && { python3 -c 'import cv2' || pip3 install --no-cache-dir --constraint /tmp/constraints.txt "opencv-python-headless>=4.5.4"; } \
    && { python3 -c 'import PIL' || pip3 install --no-cache-dir --constraint /tmp/constraints.txt "pillow>=9"; } \
    && python3 -c 'import cv2, numpy, PIL, scipy.spatial, torch; torch.from_numpy(numpy.zeros(1)); print(numpy.__version__)'

WORKDIR /workspace
COPY . src/spann3r_ros
RUN source "$(find /opt/ros -name setup.bash -path "*${ROS_DISTRO}*" | sort | head -n 1)" \
    && colcon build --merge-install --cmake-args -DBUILD_TESTING=OFF
ENV FASTDDS_DEFAULT_PROFILES_FILE=/workspace/install/share/spann3r_ros/config/fastdds.xml \
    FASTRTPS_DEFAULT_PROFILES_FILE=/workspace/install/share/spann3r_ros/config/fastdds.xml
RUN echo 'source /workspace/install/setup.bash' >> /root/.bashrc
CMD ["bash", "-c", "source /workspace/install/setup.bash && ros2 launch spann3r_ros spann3r.launch.py"]
