"""What customers were told, in their language and in plain words, and how it reached them."""
