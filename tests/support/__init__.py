"""What tests share: stand-ins and real neighbours."""
