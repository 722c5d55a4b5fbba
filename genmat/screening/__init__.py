"""From candidates to a ranked list: potentials, relaxation, hull, selection, the funnel."""
