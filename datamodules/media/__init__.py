"""Images and videos: which frames a file has, and the pixels of some of them."""
