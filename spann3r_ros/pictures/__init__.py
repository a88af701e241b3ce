"""What people look at: splatted clouds, pictures side by side, a page that turns a map."""
