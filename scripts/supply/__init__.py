"""What the relay is made of: are the locks whole, is the wheel reproducible, are the lists current?

`python -m scripts.supply check` says what is wrong, without a network; `sbom` writes deploy/sbom/.
"""
