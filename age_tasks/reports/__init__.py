"""What people read: pages, plots, tables and texts."""
