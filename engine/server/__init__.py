"""HTTP on loopback: OpenAI form and control routes. No torch here."""
