LETTERS = "abcdefghijklmnopqrstuvwxyz"
