"""The image and the containers of docker-compose.yml on a Docker engine: make e2e."""
