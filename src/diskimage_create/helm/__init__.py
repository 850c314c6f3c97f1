"""Container images and values of Helm charts, as OpenStack-Helm writes them."""
