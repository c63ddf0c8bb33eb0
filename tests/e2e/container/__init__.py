"""The image and the containers of docker-compose.yml, tried on a Docker engine: make containers."""
