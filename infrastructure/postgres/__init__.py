"""What every user of the database shares: sessions with bounded waits, and the migrations runner."""
