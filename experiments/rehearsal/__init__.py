"""A stand-in for the models of the pipeline: the real HTTP API, answers from the scenes of the built-in data set.

What it says is true but for falsehoods at a known rate, so how well verification works can be counted; and it can fail
in all the ways a hosted model fails, so how well the pipeline takes that can be tested.
"""
