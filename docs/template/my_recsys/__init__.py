"""Models, losses and a reader of my own: `plugins=my_recsys` names them all."""
