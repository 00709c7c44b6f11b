"""What published formats are read with: indices over files, checked values, geometry, tracks; no format itself."""
