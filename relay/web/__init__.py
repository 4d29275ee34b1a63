"""The aiohttp edge: parse, call, render. It decides nothing."""
