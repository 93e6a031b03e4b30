"""Say what was made, and what to do with it."""

print(
    """
Made {{ cookiecutter.__name }}:
  src/{{ cookiecutter.__module }}/__init__.py  an example that works: put your code in its place
  tests/  its tests
  README.md  how it is used, developed and published: begin here
Try it, in a virtual environment:
  cd {{ cookiecutter.__name }} && pip install --editable '.[dev]' && pytest"""
)
