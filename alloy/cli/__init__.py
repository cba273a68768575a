"""The command line. `alloy.cli.main` has `main()`, which the console script calls."""

__all__: list[str] = []
