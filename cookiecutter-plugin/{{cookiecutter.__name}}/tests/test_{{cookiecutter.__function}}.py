{% include cookiecutter.kind ~ '/test.py' -%}
