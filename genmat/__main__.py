"""`python -m genmat` is the `genmat` command."""

from genmat.cli.main import main

if __name__ == "__main__":
    main()
