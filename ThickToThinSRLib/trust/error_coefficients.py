COEFFICIENTS = {"consistent": {}, "universal": {}}
