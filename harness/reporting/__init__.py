"""Makes pages from recorded runs. Runs become data frames, and these become the findings and charts of a page."""
