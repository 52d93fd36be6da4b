"""The teachers of conf/teacher, one module for each kind."""
