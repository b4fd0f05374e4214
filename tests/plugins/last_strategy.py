"""The source of a plugin with one sound strategy of a given name."""

STRATEGY = """
    from mammozoo import Strategy, hookimpl

    class Last(Strategy):
        \"\"\"Train the very last parameter.\"\"\"
        name = "{name}"

        def trainable(self, model):
            return list(model.backbone.parameters())[-1:]

    @hookimpl
    def register_strategies():
        return [Last]
"""
