"""The first suite: what the prompt "greeting" must do. Run it with:  promptry run"""

from promptry import assert_contains, assert_not_contains, case, render_prompt, suite, track

GREETING = track("Write a short, friendly greeting for $customer. Sign it as $team.", "greeting")


def greet(customer: str) -> str:
    """Return the greeting of a customer. Put the call of your model where the comment stands."""
    prompt = render_prompt("greeting", GREETING, env="prod", customer=customer, team="the support team")
    # answer = client.chat.completions.create(model=..., messages=[{"role": "user", "content": prompt}])
    # track_invocation("greeting", usage=answer.usage, model=answer.model)
    return prompt


@suite("greeting", "A greeting names the customer and leaves no placeholder.", prompt="greeting")
def check_greeting() -> None:
    for customer in ("Ada", "Grace Hopper", "Søren"):
        with case(customer):
            text = greet(customer)
            assert_contains(text, customer)
            assert_not_contains(text, "$")
