"""The engine process as the app sees it: started, watched, spoken to."""
