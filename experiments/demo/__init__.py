"""The web page: mark regions, ask, see where the model looks. Needs the extra `demo`."""
