"""Pictures for people: splatted clouds, reconstruction beside truth, a page that shows a map from all sides."""
