"""`python -m mammozoo` is the command `mammozoo`; torchrun needs it."""

from mammozoo.cli import main

if __name__ == "__main__":
    main()
