import sys

sys.exit("this plugin wants to stop the tool")
