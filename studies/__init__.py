"""Studies, one TOML file each, and the schema that reads them."""
