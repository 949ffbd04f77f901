"""Pages made from recorded runs: runs to data frames, data frames to findings and charts, all to a page."""
