"""TripleO's container images: which ones a deployment needs, copying them, changing them on the way."""
