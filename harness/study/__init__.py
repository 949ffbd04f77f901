"""Study configurations: what a study is, and the TOML files that define one."""
