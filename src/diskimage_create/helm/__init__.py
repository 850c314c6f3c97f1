"""OpenStack-Helm: values of charts, and the images that they name."""
