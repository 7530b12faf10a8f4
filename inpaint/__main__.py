"""``python -m inpaint`` is the command ``inpaint``: what ``accelerate launch -m inpaint`` starts."""

from inpaint.cli import main

if __name__ == "__main__":
    main(prog_name="inpaint")
