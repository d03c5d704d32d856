"""A trained model in use: scores and weights of pairs, and the best items of users, in external ids. Without Ray."""
