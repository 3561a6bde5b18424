"""The steps of project.yml: a stage is a folder, a step is a file named after its command."""
