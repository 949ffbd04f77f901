"""The engines that train variants: one contract and several implementations."""
