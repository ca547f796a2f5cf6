//! What is promised of the store on PostgreSQL alone.
