"""What image files hold beside ordinary pixels: what a file really is, its metadata, and other depths of brightness."""
