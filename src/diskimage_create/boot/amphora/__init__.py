"""An amphora on trial: what Octavia's controller would do with it, and then real requests through it."""
