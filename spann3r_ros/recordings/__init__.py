"""Reading and writing what cameras recorded: bags, dataset folders, videos, folders of images."""
