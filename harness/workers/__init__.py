"""Worker processes that train, on this machine or on a Dask cluster."""
