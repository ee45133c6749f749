"""What figures are made of: layout, facets, scales, style, labels and captions."""
