"""A Dataflow Flex Template: one image for launcher and workers, and the description of its parameters."""
