"""Part of EasySSL."""
